"""The systems whose overhead is measured: each module runs the same programs in one of them."""

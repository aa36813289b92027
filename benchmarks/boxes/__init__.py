"""The sandboxes that are measured: each module runs the same small programs in one of them."""

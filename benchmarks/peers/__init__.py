"""What is measured: each module runs the same programs in one system, in an environment of its own."""

"""The sandboxes that are compared: each module runs the same small programs in one."""

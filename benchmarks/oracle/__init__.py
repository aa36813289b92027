"""Programs that solve the tasks of other people's task sets, made from their lists of right calls; no model is asked."""

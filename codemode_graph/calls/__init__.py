"""The life of a program's calls: they are decided on, made and recorded."""

"""What becomes of the calls of a program: it is driven, they are decided on, made and recorded."""

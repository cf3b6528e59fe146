"""Composites: functions written with the primitive operators, one topic a file; they inherit everything from them."""

"""A function of one example as a function of many: levels, rules of operators, `vmap`."""

"""The data plane in C: modules that move and search bytes without the interpreter lock."""

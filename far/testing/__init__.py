"""What a variant of any axis must do, as checks that its author can run; the tests run them on every registry."""

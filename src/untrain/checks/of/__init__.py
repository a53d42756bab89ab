"""Laws of one method, in a file named as the method's is; found by looking."""

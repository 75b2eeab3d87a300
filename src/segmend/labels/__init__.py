"""Labels: how to spoil them, find what is wrong with them, and mend them."""

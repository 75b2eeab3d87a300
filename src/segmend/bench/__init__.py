"""Paper tables: a plan becomes runs, and runs become a table with the published numbers beside the measured."""

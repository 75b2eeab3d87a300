"""Review of the findings of an audit: a local web application, its decisions and their export."""

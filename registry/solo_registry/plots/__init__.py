"""Pictures and tables of results. matplotlib is imported only when something is drawn."""

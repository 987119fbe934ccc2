"""The web console: pages for people, made on the server, on the same calls as every other face."""

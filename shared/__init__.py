"""What the services share: events, documents, and the ports to the broker, the database, files and tiles."""

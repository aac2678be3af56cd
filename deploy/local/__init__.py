"""slidemill on one machine: private MongoDB, RabbitMQ and nginx and every service, children of one process."""

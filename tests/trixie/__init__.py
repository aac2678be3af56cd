"""RabbitMQ 4.0 of Debian 13 on an older Debian: a root of its own made by debootstrap, entered by chroot.

    .venv/bin/python -m tests.trixie     # makes it, once, and prints the path of its rabbitmq-server

What stands at that path runs the server in the root as if it were installed here (`SLIDEMILL_RABBITMQ_SERVER`), and
`rabbitmqctl` is beside it.
"""

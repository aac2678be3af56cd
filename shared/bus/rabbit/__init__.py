"""The bus on RabbitMQ 3.10 or later, over AMQP 0-9-1."""

from shared.bus.rabbit.bus import RabbitBus
from shared.bus.rabbit.connecting import ForeignPrefix, TopologyMismatch, apply
from shared.bus.rabbit.dead import RabbitDeadLetters
from shared.bus.rabbit.journal import RabbitJournal

__all__ = ["ForeignPrefix", "RabbitBus", "RabbitDeadLetters", "RabbitJournal", "TopologyMismatch", "apply"]

"""How a version moves through its stages: the only writers of its state, each a compare-and-set.

    states     the states of a version that is under way, and who works on it meanwhile
    moving     an upload becomes a version; a stage begins and ends
    blocks     a stage's plan, and the work on one block of it
    facts      what is to be published of a version as it is
    failing    a version fails, and goes on where it failed
    deleted    what a handler does whose image is deleted under its hands

The rule behind all of it: what is returned for publishing is what the database shows is still wanting, so doing any
of this again, late, or twice at once changes nothing in the end.
"""

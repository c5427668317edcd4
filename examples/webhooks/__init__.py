"""A fifth kind of job: deliver the webhooks that wait in a table, each once as far as HTTP allows.

``post`` knows HTTP and ``outbox`` knows one table; neither knows of runs.  ``kind`` ties them to the machinery.
Register it with ``HOLDFAST_KINDS=examples.webhooks.kind:DELIVER_WEBHOOKS``, then ``from tasks import start_webhooks``.
"""

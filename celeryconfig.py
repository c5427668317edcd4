"""Celery's settings, each with the failure it prevents.

Messages are hints: MySQL knows what is to be done, so nothing here has to keep a message safe, only quick.
"""

from tasks.settings import settings as _settings

broker_url = _settings().broker_url

# -- the broker goes away -----------------------------------------------------------------------------------------------

# A worker that comes up before its broker would exit and, after enough tries, stay down.
broker_connection_retry_on_startup = True
# The default gives up after 100 tries: an outage over a night would leave pools that run and never consume again.
broker_connection_max_retries = None
broker_transport_options = {
    # Without time-outs a publish to a hung broker blocks for ever, and `.delay()` with it.
    "socket_connect_timeout": 1.0,
    # Longer than the one second that the transport's own blocking pop may take.
    "socket_timeout": 2.0,
    # A peer that vanished without closing is noticed by the kernel, too.
    "socket_keepalive": True,
    # A worker on a half-open connection would wait for ever; so it reconnects within about twice this, in seconds.
    "health_check_interval": 10,
    # A publisher tries once and raises: the run is in MySQL, and the dispatcher publishes it when the broker is back.
    "max_retries": 0,
}
broker_connection_timeout = 2.0
# Retrying is the dispatcher's: here it would only make `.delay()` slow while the broker is down.
task_publish_retry = False

# -- who takes which message --------------------------------------------------------------------------------------------

# Acknowledged late, a job longer than the visibility time-out runs twice at once.  A lost one comes back by its lease.
task_acks_late = False
# Would put a job that kills its worker back at the head of the queue, for ever.  Crashes are counted in MySQL.
task_reject_on_worker_lost = False
# Acknowledged early, a message frees its prefetch slot when its job starts, so even a multiplier of 1 takes a second
# message hostage behind a long job while another worker idles.  This stops asking while every child is busy.
worker_disable_prefetch = True
worker_prefetch_multiplier = 1
# A start that is sent by name, without our code, has to find a pool that admits it.
task_default_queue = "control"
task_routes = {"start_*": {"queue": "control"}}

# -- what a message may hold --------------------------------------------------------------------------------------------

# Unpickling would run whatever a stranger on the broker's network sends.
accept_content = ["json"]
task_serializer = "json"
event_serializer = "json"
result_serializer = "json"
# Results live in MySQL.  A second store would cost a fifth of each `.delay()`, fill Redis, and contradict the first.
result_backend = None
task_ignore_result = True

# A header without an id makes Celery's own consumer reconnect for ever, and a message of a wrong shape ends the worker.
worker_consumer = "tasks.consumer:Consumer"

# -- the worker's children ----------------------------------------------------------------------------------------------

# Threads ignore time limits and leak their slot for good on SystemExit.
worker_pool = "prefork"
# A replacement child that is slower to start than this is killed and replaced, for ever; 4 s is too tight on a busy machine.
worker_proc_alive_timeout = 30.0
# On Redis this kills running jobs whenever the broker hiccups and strands them.
worker_cancel_long_running_tasks_on_connection_loss = False
# It would sleep its full time-out whenever a job runs; SIGTERM already lets running jobs finish.
worker_soft_shutdown_timeout = 0.0

# -- what operators see -------------------------------------------------------------------------------------------------

# Flower sees nothing of a worker that sends no events.
worker_send_task_events = True
# One more message for each publish; what waits is in MySQL, where it cannot be wrong.
task_send_sent_event = False
# An event that nobody reads must not pile up in Redis while Flower is down, in seconds.
event_queue_ttl = 5.0
event_queue_expires = 60.0
# The reply list of an `inspect` that was interrupted would stay in Redis, in seconds.
control_queue_ttl = 60.0
control_queue_expires = 60.0

# -- time ---------------------------------------------------------------------------------------------------------------

# Beat and the events' times must not move with a host's time zone or with daylight saving.
enable_utc = True
timezone = "UTC"
# Celery's own scheduler keeps the last tick in a file of one host and its ticks in the broker; this one asks MySQL.
beat_scheduler = "ops.beat:WatchingScheduler"

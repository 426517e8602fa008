"""The worker process of a metaserver: what moves or deletes data bytes does so there, at low priority (rule 28).

The metaserver decides and commits; the worker only does what one job says, and knows nothing of groups.

    worker.py     the metaserver's side: ``await worker.run_job(job, deadline_s)``
    __main__.py   the process: reads jobs, runs them in threads, writes replies
    jobs.py       what each job does, as a plain function
    frames.py     how messages are put on the pipes

To add a job: a message and a field in Job (and in JobReply, if it answers something) in worker.proto, and a function
in jobs.py, entered in its table under the field's name. It is given the object store and its message, may block, raises
the project's or the store's errors, and is bounded in time and memory by itself: up to JOBS_MAX run at the same time.
It may be run again after any failure, also one of unknown outcome, so it must be harmless twice.
"""

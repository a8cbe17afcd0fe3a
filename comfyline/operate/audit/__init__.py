"""Audit: check that everything which a deployment holds fits together.

    source.py     what an audit reads: tables, bucket, queues, sockets
    jobs.py, owners.py, live.py, keys.py, files.py
                  read one table, or the bucket: check every item alone, and note it in the index
    relations*.py queries of the index: check what items of different tables say of each other
    ledger.py     check the sums over ended jobs
    check.py      all of it, in the order that makes it right while the deployment works
    fix.py        mend what the lifecycle can decide
    findings.py   the report

Rule: an audit holds no table in memory. It reads each item once, and what other items need of it
goes into the index, a temporary SQLite file. So it needs the same memory for any number of jobs.

A finding is an error, or an item that nothing will remove. A leftover is an item that a crash may
leave behind and that is removed later: by the sweeper at the end of the job's retention, by a TTL,
or by the bucket's lifecycle rules. An item that has changed recently is not judged, because the
change may be only half done.
"""

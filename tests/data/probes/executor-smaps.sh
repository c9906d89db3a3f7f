. /probes/lib
readable smaps

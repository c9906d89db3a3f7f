. /probes/lib
readable stack

. /probes/lib
readable root

. /probes/lib
readable pagemap

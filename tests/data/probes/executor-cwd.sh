. /probes/lib
readable cwd

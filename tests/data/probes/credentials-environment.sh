. /probes/lib
env | grep "$canary"

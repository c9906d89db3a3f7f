. /probes/lib
more_than_one "$(for pid in $(others); do (: >> "/proc/$pid/oom_score_adj") && echo "$pid"; done)"

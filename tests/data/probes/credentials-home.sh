. /probes/lib
grep -rl "$canary" /root /home "$HOME"

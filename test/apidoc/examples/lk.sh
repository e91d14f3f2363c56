export LIVEKIT_URL=http://127.0.0.1:9464   # textegress, not the LiveKit server
lk egress list --active
lk egress list --room "Biology 2" --json
lk egress stop --id DE_x7Kq2LmPz0aB

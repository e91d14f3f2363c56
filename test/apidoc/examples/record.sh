# LIVEKIT_API_KEY and LIVEKIT_API_SECRET are those of the project.
url=${TEXTEGRESS_URL:-http://127.0.0.1:9464}

encode() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# token prints an access token that is valid for five minutes.
token() {
  local claims signed
  claims=$(printf '{"iss":"%s","exp":%d,"video":{"roomRecord":true}}' \
    "$LIVEKIT_API_KEY" $(($(date +%s) + 300)))
  signed=$(printf '{"alg":"HS256","typ":"JWT"}' | encode).$(printf '%s' "$claims" | encode)
  printf '%s.%s' "$signed" "$(printf '%s' "$signed" |
    openssl dgst -sha256 -hmac "$LIVEKIT_API_SECRET" -binary | encode)"
}

# call <method> <request>
call() {
  curl --silent --show-error --fail-with-body "$url/twirp/textegress.DataEgress/$1" \
    --header "Authorization: Bearer $(token)" \
    --header "Content-Type: application/json" --data "$2"
}

id=$(call StartDataEgress '{"room_name":"Biology 2","topics":["lk.chat"]}' | jq -r .egress_id)
call ListDataEgress '{"active":true}' | jq -r '.items[] | .egress_id + " " + .status'
call StopDataEgress "{\"egress_id\":\"$id\"}" | jq -r .status
call GetStatement "{\"egress_id\":\"$id\"}" | jq .

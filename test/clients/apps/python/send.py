# What an app or an agent in Python sends with the SDK "livekit": every send method that this version has, once, each on a topic of
# its own so that the record can be looked up. Usage: python send.py <url of the test> <job> …
import asyncio
import base64
import json
import os
import sys
import tempfile
import traceback
import urllib.request

from livekit import rtc

server, *ids = sys.argv[1:]


async def fetch(path, body=None, post=False):
    def ask():
        request = urllib.request.Request(server + path, data=body, method="POST" if post else "GET")
        with urllib.request.urlopen(request) as response:
            return response.status, response.read()

    return await asyncio.to_thread(ask)


async def others(room, expected):
    everybody = asyncio.Event()

    def look(*_):
        if all(identity in room.remote_participants for identity in expected):
            everybody.set()

    room.on("participant_connected", look)
    look()
    await everybody.wait()


def methods(room, job, path):
    me = room.local_participant
    peer = job["peer"]
    attributes = job["attributes"]
    binary, file = base64.b64decode(job["binary"]), base64.b64decode(job["file"])

    tracks = []

    async def stream_text():
        writer = await me.stream_text(topic="stream-text", attributes=attributes)
        for part in job["parts"]:
            await writer.write(part)
        await writer.aclose()

    async def stream_bytes():
        writer = await me.stream_bytes(
            job["fileName"], topic="stream-bytes", mime_type="application/octet-stream", attributes=attributes
        )
        for at in range(0, len(file), 7000):
            await writer.write(file[at : at + 7000])
        await writer.aclose()

    async def rpc():
        answer = await me.perform_rpc(destination_identity=peer, method="greet", payload=job["rpc"])
        if answer != "hello, " + job["rpc"]:
            raise RuntimeError(f"the answer is {answer}")

    async def transcription_stream():
        # How LiveKit's agents send what somebody said: an interim text, then the final one.
        for final, said in (("false", job["parts"][0]), ("true", job["short"])):
            writer = await me.stream_text(
                topic="lk.transcription",
                attributes={
                    "lk.segment_id": "SG_2", "lk.transcription_final": final, "lk.transcribed_track_id": "TR_microphone",
                },
            )
            await writer.write(said)
            await writer.aclose()

    async def data_track():
        # Lossy, and receivers subscribe when the track appears: an app sends frame after frame.
        track = await me.publish_data_track(name="positions")
        for n in range(1, job["frames"] + 1):
            track.try_push(rtc.DataTrackFrame(payload=f"frame {n}".encode(), user_timestamp=n))
            await asyncio.sleep(0.04)
        track.try_push(rtc.DataTrackFrame(payload=job["long"].encode()))  # in several packets
        await asyncio.sleep(0.5)  # there is no flush: what is still queued when the track is dropped is lost
        tracks.append(track)

    all_of_them = {
        "publish-lossy": lambda: me.publish_data(job["short"], topic="publish-lossy", reliable=False),
        "publish-reliable": lambda: me.publish_data(job["short"], topic="publish-reliable"),
        "publish-bytes": lambda: me.publish_data(binary, topic="publish-bytes"),
        "publish-no-topic": lambda: me.publish_data(job["short"]),
        "publish-addressed": lambda: me.publish_data(
            job["short"], topic="publish-addressed", destination_identities=[peer]
        ),
        "publish-addressed-too": lambda: me.publish_data(
            job["short"], topic="publish-addressed-too", destination_identities=[peer, job["recorder"]]
        ),
        "send-text-short": lambda: me.send_text(job["short"], topic="send-text-short", attributes=attributes),
        "send-text-long": lambda: me.send_text(job["long"], topic="send-text-long", attributes=attributes),
        "send-text-addressed": lambda: me.send_text(
            job["short"], topic="send-text-addressed", destination_identities=[peer]
        ),
        "stream-text": stream_text,
        "send-file": lambda: me.send_file(path, topic="send-file"),
        "stream-bytes": stream_bytes,
        "dtmf": lambda: me.publish_dtmf(code=5, digit="5"),
        "rpc": rpc,
        "transcription": lambda: me.publish_transcription(
            rtc.Transcription(
                participant_identity=me.identity,
                track_sid="TR_microphone",
                segments=[
                    rtc.TranscriptionSegment(
                        id="SG_1", text=job["short"], start_time=1000, end_time=2500, language="en", final=True
                    )
                ],
            )
        ),
        "transcription-stream": transcription_stream,
    }
    if hasattr(me, "send_bytes"):
        all_of_them["send-bytes"] = lambda: me.send_bytes(
            binary, topic="send-bytes", name=job["fileName"], mime_type="application/octet-stream", attributes=attributes
        )
    if hasattr(me, "publish_data_track"):
        all_of_them["data-track"] = data_track
    if not peer:
        for name in ("publish-addressed", "publish-addressed-too", "send-text-addressed", "rpc"):
            all_of_them[name] = ""
    return all_of_them


async def run(room, job, path):
    await room.connect(job["url"], job["token"], rtc.RoomOptions(auto_subscribe=False))

    async def greet(call):
        return "hello, " + call.payload

    room.local_participant.register_rpc_method("greet", greet)
    await others(room, job["expect"])
    results = {}
    known = methods(room, job, path)

    async def perform(names):
        for name in names:
            send = known.get(name)
            if not send:
                results[name] = "nobody to address" if send == "" else "not in this version"
                continue
            try:
                await asyncio.wait_for(send(), 15)
                results[name] = "sent"
            except Exception as e:
                results[name] = f"failed: {e!r}"

    await perform(job["methods"])
    while (await fetch(f"/ready?job={job['id']}", b"", post=True))[0] != 200:
        await asyncio.sleep(0.1)
    await perform(job["addressed"])
    await room.local_participant.publish_data(job["end"], topic="end")
    return results


async def attend(id, folder):
    room = rtc.Room()
    ended = asyncio.Event()
    room.on("disconnected", lambda *_: ended.set())
    try:
        job = json.loads((await fetch(f"/job?job={id}"))[1])
        os.mkdir(os.path.join(folder, id))
        path = os.path.join(folder, id, job["fileName"])
        with open(path, "wb") as f:
            f.write(base64.b64decode(job["file"]))
        results = await run(room, job, path)
    except Exception:
        results = {"program": "failed: " + traceback.format_exc()}
    await fetch(f"/results?job={id}", json.dumps(results).encode(), post=True)
    await ended.wait()  # everybody stays until the session ends


async def main():
    with tempfile.TemporaryDirectory() as folder:
        await asyncio.gather(*(attend(id, folder) for id in ids))


asyncio.run(main())

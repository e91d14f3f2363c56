package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// LiveKit is an API key of a LiveKit server.
type LiveKit struct {
	APIKey    string
	APISecret Secret
}

// liveKit reads the key with which a project creates its own join tokens; nil if there is none.
func (l *loader) liveKit(i int) *LiveKit {
	key, secret := l.orFile(i, "LIVEKIT__API_KEY"), l.orFile(i, "LIVEKIT__API_SECRET")
	switch {
	case key.text == "" && secret.text == "":
		return nil
	case secret.text == "":
		secret.required("set it too, or remove " + key.key +
			" to join with SyncFlow's tokens alone")
		return nil
	case key.text == "":
		key.required("set it too, or remove " + secret.key +
			" to join with SyncFlow's tokens alone")
		return nil
	}
	return &LiveKit{APIKey: key.word(), APISecret: NewSecret(secret.word())}
}

// orFile returns a setting of a project whose value may be the content of the file named by
// NAME_FILE. Surrounding white space is removed, because most programs end such files with a
// newline.
func (l *loader) orFile(i int, name string) field {
	f, file := l.projectField(i, name), l.projectField(i, name+"_FILE")
	switch {
	case file.text == "":
		return f
	case f.text != "":
		file.wrong("is set together with "+f.key, "remove one of the two")
		return f
	}
	data, err := readSmall(l.path(strings.TrimSpace(file.text)))
	text := strings.TrimSpace(string(data))
	switch {
	case err != nil:
		file.wrong("cannot be read: "+plainError(err), "correct the path or make the file readable")
	case text == "":
		file.wrong("names a file that is empty", "write the value into the file")
	}
	f.text, f.src = text, "the file of "+file.key
	if text != "" {
		l.values[f.key] = value{text, f.src} // so that new content is a change of the setting
	}
	return f
}

// readSmall reads a file that holds one value.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && len(data) > maxKeyFile {
		err = fmt.Errorf("it has more than %d bytes", maxKeyFile)
	}
	return data, err
}

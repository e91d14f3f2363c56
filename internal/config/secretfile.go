package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxKeyFile bounds the size of a file that holds a key or a secret, in bytes.
const maxKeyFile = 64 << 10

// fromFile reads the value of a setting from the file that NAME_FILE names, if it is set.
// Surrounding white space is removed, because most programs end such files with a newline. A
// problem with the file is a problem of NAME_FILE. Only settings that are needed are read, each
// once.
func (l *loader) fromFile(name string) {
	fileName := name + "_FILE"
	if k, ok := lookup(fileName); !ok || k.kind != inFile || l.filesRead[fileName] {
		return
	}
	l.filesRead[fileName] = true
	file := l.field(fileName)
	if file.text == "" {
		return
	}
	if _, both := l.values[name]; both {
		file.wrong("is set together with "+name, "remove one of the two")
		return
	}
	data, err := readSmall(l.path(strings.TrimSpace(file.text)))
	text := strings.TrimSpace(string(data))
	switch {
	case err != nil:
		file.wrong("cannot be read: "+plainError(err), "correct the path or make the file readable")
		l.faultyFiles[name] = true
	case text == "":
		file.wrong("names a file that is empty", "write the value into the file")
		l.faultyFiles[name] = true
	default:
		// As a value of the setting, so that new content is a change of the setting.
		l.values[name] = value{text, "the file of " + fileName}
	}
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

package devstack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// DotEnv writes a .env file for the recorder into dir, with all the keys that the predecessor had and those that this
// deployment needs, and returns its path. Extra lines ("KEY=value") come last; later lines do not override earlier ones in
// every parser, so they must be other keys.
func (s *Stack) DotEnv(dir string, extra ...string) (string, error) {
	path := filepath.Join(dir, ".env")
	if err := os.WriteFile(path, []byte(strings.Join(append(s.Env(), extra...), "\n")+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("devstack: %w", err)
	}
	return path, nil
}

// Env returns the recorder's configuration as environment variables, "KEY=value".
func (s *Stack) Env() []string {
	lines := []string{"SYNCFLOW_SERVER_URL=" + s.SyncFlow.URL}
	if mq := s.RabbitMQ; mq != nil {
		port := mq.Port
		if s.opt.TLS {
			port = mq.TLSPort
		}
		lines = append(lines, "RABBITMQ_HOST="+mq.Host, fmt.Sprintf("RABBITMQ_PORT=%d", port), "RABBITMQ_VHOST_NAME="+mq.VHost,
			fmt.Sprintf("RABBITMQ_TLS=%v", s.opt.TLS))
		if s.opt.TLS {
			lines = append(lines, "RABBITMQ_CA_FILE="+mq.CAFile)
		}
	}
	lines = append(lines, "DEVICE_GROUP_NAME="+DeviceGroup)
	for i, p := range s.SyncFlow.Projects {
		k := fmt.Sprintf("PROJECTS__%d__", i)
		lines = append(lines, k+"KEY="+p.Key, k+"SECRET="+p.Secret, k+"PROJECT_ID="+p.ID)
		if s.S3 != nil {
			k += "S3_CONFIG__"
			lines = append(lines, k+"ACCESS_KEY="+s.S3.AccessKey, k+"SECRET_KEY="+s.S3.SecretKey, k+"ENDPOINT="+s.S3.Endpoint,
				k+"BUCKET_NAME="+p.Bucket, k+"REGION="+s.S3.Region)
		}
	}
	return lines
}

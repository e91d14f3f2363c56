package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// LiveKitBucket is the bucket of a recorder of a stack without SyncFlow.
const LiveKitBucket = "livekit"

// DotEnv writes a .env file for a recorder of all projects into dir, with all keys of the
// predecessor and those that this deployment needs, and returns its path. Extra lines ("KEY=value")
// come last. Their keys must be new, because not every parser lets later lines override earlier
// ones.
func (s *Stack) DotEnv(dir string, extra ...string) (string, error) {
	return writeDotEnv(dir, append(s.Env(), extra...))
}

func writeDotEnv(dir string, lines []string) (string, error) {
	path := filepath.Join(dir, ".env")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("stack: %w", err)
	}
	return path, nil
}

// Env returns a recorder's configuration as environment variables, "KEY=value", for the given
// projects, or for all if none is given. With proxies, the addresses are those of the proxies.
func (s *Stack) Env(projects ...Project) []string {
	if s.SyncFlow == nil {
		return s.liveKitEnv()
	}
	if len(projects) == 0 {
		projects = s.SyncFlow.Projects
	}
	api := s.SyncFlow.URL
	if s.Proxies != nil {
		api = "http://" + s.Proxies.SyncFlow.Addr
	}
	lines := []string{"SYNCFLOW_SERVER_URL=" + api}
	if mq := s.RabbitMQ; mq != nil {
		port := fmt.Sprint(s.brokerPort())
		if s.Proxies != nil {
			_, port, _ = strings.Cut(s.Proxies.RabbitMQ.Addr, ":")
		}
		lines = append(lines, "RABBITMQ_HOST="+mq.Host, "RABBITMQ_PORT="+port,
			"RABBITMQ_VHOST_NAME="+mq.VHost,
			fmt.Sprintf("RABBITMQ_TLS=%v", s.opt.TLS))
		if s.opt.TLS {
			lines = append(lines, "RABBITMQ_CA_FILE="+mq.CAFile)
		}
	}
	lines = append(lines, "DEVICE_GROUP_NAME="+DeviceGroup)
	for i, p := range projects {
		k := fmt.Sprintf("PROJECTS__%d__", i)
		lines = append(lines, k+"KEY="+p.Key, k+"SECRET="+p.Secret, k+"PROJECT_ID="+p.ID)
		lines = append(lines, s.bucketEnv(k, p.Bucket)...)
	}
	return lines
}

// bucketEnv returns the lines for a bucket, with keys that begin with k; none without an S3 server.
func (s *Stack) bucketEnv(k, bucket string) []string {
	if s.S3 == nil {
		return nil
	}
	k += "S3_CONFIG__"
	endpoint := s.S3.Endpoint
	if s.Proxies != nil {
		endpoint = "http://" + s.Proxies.S3.Addr
	}
	return []string{
		k + "ACCESS_KEY=" + s.S3.AccessKey, k + "SECRET_KEY=" + s.S3.SecretKey,
		k + "ENDPOINT=" + endpoint, k + "BUCKET_NAME=" + bucket, k + "REGION=" + s.S3.Region,
	}
}

// liveKitEnv returns the configuration for the LiveKit server alone: the three variables that
// LiveKit's own tools read, and a bucket if there is an S3 server.
func (s *Stack) liveKitEnv() []string {
	return append([]string{
		"LIVEKIT_URL=" + s.signalURL(), "LIVEKIT_API_KEY=" + s.LiveKit.APIKey,
		"LIVEKIT_API_SECRET=" + s.LiveKit.APISecret,
	}, s.bucketEnv("PROJECTS__0__", LiveKitBucket)...)
}

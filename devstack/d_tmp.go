package devstack
import (
	_ "github.com/livekit/server-sdk-go/v2"
	_ "github.com/livekit/protocol/livekit"
	_ "github.com/rabbitmq/amqp091-go"
	_ "github.com/golang-jwt/jwt/v5"
	_ "github.com/schollz/progressbar/v3"
	_ "github.com/aws/aws-sdk-go-v2/aws"
	_ "github.com/aws/aws-sdk-go-v2/credentials"
	_ "github.com/aws/aws-sdk-go-v2/service/s3"
	_ "google.golang.org/protobuf/proto"
)

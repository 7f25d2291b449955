package fetch

import (
	"context"

	"github.com/rocketmq-connect/operator/hack/stack/internal/image"
)

// The cluster's own images.
const (
	PauseImage   = "docker.io/rocketmq-connect/stack-pause:1"
	CoreDNSImage = "docker.io/rocketmq-connect/stack-coredns:" + corednsVersion
)

// ClusterImages are the tars that the cluster's containerd needs.
func (f Fetcher) ClusterImages() []string {
	return []string{f.Layout.Image("pause"), f.Layout.Image("coredns")}
}

func (f Fetcher) clusterImages(ctx context.Context) error {
	for _, i := range []struct{ program, name string }{{"pause", PauseImage}, {"coredns", CoreDNSImage}} {
		tar, binary := f.Layout.Image(i.program), f.Layout.Bin(i.program)
		sum, err := image.Digest(binary)
		if err != nil {
			return err
		}
		err = f.ensure(ctx, product{
			name: "image-" + i.program, inputs: []string{i.name, sum, image.Format}, files: []string{tar},
			what: "writing the image " + i.name,
			make: func(context.Context) error { return image.Write(tar, image.Spec{Name: i.name, Binary: binary}) },
		})
		if err != nil {
			return err
		}
	}
	return nil
}

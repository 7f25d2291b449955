package render

import (
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
)

// Where the files of TLS to RocketMQ lie in a worker's container. The CA has a folder of its own: a Secret that holds a
// key as well shows only the CA there.
const (
	tlsCADir   = "/etc/connect-tls-ca"
	tlsCertDir = "/etc/connect-tls"
)

func setTLS(set func(string, any), tls *v1alpha1.RocketMQTLSSpec) {
	set("tlsEnable", true)
	if ref := tls.CASecretRef; ref != nil {
		set("tlsCA", tlsCADir+"/"+caKey(ref))
	}
	if tls.CertSecretRef != nil {
		set("tlsCert", tlsCertDir+"/tls.crt")
		set("tlsKey", tlsCertDir+"/tls.key")
	}
	if tls.ServerName != "" {
		set("tlsServerName", tls.ServerName)
	}
}

// Secrets names the user's Secrets that the pods cannot start without.
func Secrets(c *v1alpha1.ConnectCluster) []string {
	var out []string
	if ref := c.Spec.RocketMQ.CredentialsSecretRef; ref != nil {
		out = append(out, ref.Name)
	}
	volumes, _ := tlsVolumes(c)
	for _, v := range volumes {
		out = append(out, *v.Secret.SecretName)
	}
	return out
}

func caKey(ref *v1alpha1.SecretKeyReference) string {
	if ref.Key == "" {
		return "ca.crt"
	}
	return ref.Key
}

// tlsVolumes are the volumes of the Secrets with their mounts. They are mounted as folders, which follow their Secrets.
func tlsVolumes(
	c *v1alpha1.ConnectCluster,
) (volumes []*corev1ac.VolumeApplyConfiguration, mounts []*corev1ac.VolumeMountApplyConfiguration) {
	tls := c.Spec.RocketMQ.TLS
	if tls == nil {
		return nil, nil
	}
	add := func(name, dir string, source *corev1ac.SecretVolumeSourceApplyConfiguration) {
		volumes = append(volumes, corev1ac.Volume().WithName(name).WithSecret(source.WithDefaultMode(secretMode)))
		mounts = append(mounts, corev1ac.VolumeMount().WithName(name).WithMountPath(dir).WithReadOnly(true))
	}
	if ref := tls.CASecretRef; ref != nil {
		key := caKey(ref)
		add(
			"rocketmq-ca",
			tlsCADir,
			corev1ac.SecretVolumeSource().WithSecretName(ref.Name).WithItems(corev1ac.KeyToPath().WithKey(key).WithPath(key)),
		)
	}
	if ref := tls.CertSecretRef; ref != nil {
		items := []*corev1ac.KeyToPathApplyConfiguration{
			corev1ac.KeyToPath().WithKey("tls.crt").WithPath("tls.crt"),
			corev1ac.KeyToPath().WithKey("tls.key").WithPath("tls.key"),
		}
		add("rocketmq-cert", tlsCertDir, corev1ac.SecretVolumeSource().WithSecretName(ref.Name).WithItems(items...))
	}
	return volumes, mounts
}

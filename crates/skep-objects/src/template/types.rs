//! The Go types of what the API answers, as far as templates can tell: which fields there are, what an
//! absent one is, how values print.

/// A type's name and its fields, or what it is made of. `+` marks fields whose own are also the outer's.
const TYPES: &[(&str, &str)] = &[
    (
        "swarm.Service",
        "ID string,+Meta swarm.Meta,Spec swarm.ServiceSpec,PreviousSpec *swarm.ServiceSpec,Endpoint swarm.Endpoint,UpdateStatus *swarm.UpdateStatus,ServiceStatus *swarm.ServiceStatus,JobStatus *swarm.JobStatus",
    ),
    (
        "swarm.Meta",
        "Version swarm.Version,CreatedAt time.Time,UpdatedAt time.Time",
    ),
    ("swarm.Version", "Index uint64"),
    ("swarm.Annotations", "Name string,Labels map[string]string"),
    (
        "swarm.ServiceSpec",
        "+Annotations swarm.Annotations,TaskTemplate swarm.TaskSpec,Mode swarm.ServiceMode,UpdateConfig *swarm.UpdateConfig,RollbackConfig *swarm.UpdateConfig,Networks []swarm.NetworkAttachmentConfig,EndpointSpec *swarm.EndpointSpec",
    ),
    (
        "swarm.TaskSpec",
        "ContainerSpec *swarm.ContainerSpec,PluginSpec *runtime.PluginSpec,NetworkAttachmentSpec *swarm.NetworkAttachmentSpec,Resources *swarm.ResourceRequirements,RestartPolicy *swarm.RestartPolicy,Placement *swarm.Placement,Networks []swarm.NetworkAttachmentConfig,LogDriver *swarm.Driver,ForceUpdate uint64,Runtime swarm.RuntimeType",
    ),
    ("swarm.RuntimeType", "string"),
    (
        "runtime.PluginSpec",
        "Name string,Remote string,Disabled bool,Env []string",
    ),
    ("swarm.NetworkAttachmentSpec", "ContainerID string"),
    (
        "swarm.ServiceMode",
        "Replicated *swarm.ReplicatedService,Global *swarm.GlobalService,ReplicatedJob *swarm.ReplicatedJob,GlobalJob *swarm.GlobalJob",
    ),
    ("swarm.ReplicatedService", "Replicas *uint64"),
    ("swarm.GlobalService", ""),
    (
        "swarm.ReplicatedJob",
        "MaxConcurrent *uint64,TotalCompletions *uint64",
    ),
    ("swarm.GlobalJob", ""),
    (
        "swarm.UpdateConfig",
        "Parallelism uint64,Delay time.Duration,FailureAction string,Monitor time.Duration,MaxFailureRatio float32,Order string",
    ),
    (
        "swarm.ContainerSpec",
        "Image string,Labels map[string]string,Command []string,Args []string,Hostname string,Env []string,Dir string,User string,Groups []string,Privileges *swarm.Privileges,Init *bool,StopSignal string,TTY bool,OpenStdin bool,ReadOnly bool,Mounts []mount.Mount,StopGracePeriod *time.Duration,Healthcheck *container.HealthConfig,Hosts []string,DNSConfig *swarm.DNSConfig,Secrets []*swarm.SecretReference,Configs []*swarm.ConfigReference,Isolation container.Isolation,Sysctls map[string]string,CapabilityAdd []string,CapabilityDrop []string,Ulimits []*units.Ulimit,OomScoreAdj int64",
    ),
    (
        "swarm.Privileges",
        "CredentialSpec *swarm.CredentialSpec,SELinuxContext *swarm.SELinuxContext,Seccomp *swarm.SeccompOpts,AppArmor *swarm.AppArmorOpts,NoNewPrivileges bool",
    ),
    (
        "swarm.CredentialSpec",
        "Config string,File string,Registry string",
    ),
    (
        "swarm.SELinuxContext",
        "Disable bool,User string,Role string,Type string,Level string",
    ),
    ("swarm.SeccompOpts", "Mode swarm.SeccompMode,Profile []byte"),
    ("swarm.SeccompMode", "string"),
    ("swarm.AppArmorOpts", "Mode swarm.AppArmorMode"),
    ("swarm.AppArmorMode", "string"),
    ("container.Isolation", "string"),
    (
        "container.HealthConfig",
        "Test []string,Interval time.Duration,Timeout time.Duration,StartPeriod time.Duration,StartInterval time.Duration,Retries int",
    ),
    ("units.Ulimit", "Name string,Hard int64,Soft int64"),
    (
        "mount.Mount",
        "Type mount.Type,Source string,Target string,ReadOnly bool,Consistency mount.Consistency,BindOptions *mount.BindOptions,VolumeOptions *mount.VolumeOptions,ImageOptions *mount.ImageOptions,TmpfsOptions *mount.TmpfsOptions,ClusterOptions *mount.ClusterOptions",
    ),
    ("mount.Type", "string"),
    ("mount.Consistency", "string"),
    ("mount.Propagation", "string"),
    (
        "mount.BindOptions",
        "Propagation mount.Propagation,NonRecursive bool,CreateMountpoint bool,ReadOnlyNonRecursive bool,ReadOnlyForceRecursive bool",
    ),
    (
        "mount.VolumeOptions",
        "NoCopy bool,Labels map[string]string,Subpath string,DriverConfig *mount.Driver",
    ),
    ("mount.Driver", "Name string,Options map[string]string"),
    ("mount.ImageOptions", "Subpath string"),
    (
        "mount.TmpfsOptions",
        "SizeBytes int64,Mode os.FileMode,Options [][]string",
    ),
    ("mount.ClusterOptions", ""),
    (
        "swarm.DNSConfig",
        "Nameservers []string,Search []string,Options []string",
    ),
    (
        "swarm.SecretReference",
        "File *swarm.SecretReferenceFileTarget,SecretID string,SecretName string",
    ),
    (
        "swarm.SecretReferenceFileTarget",
        "Name string,UID string,GID string,Mode os.FileMode",
    ),
    (
        "swarm.ConfigReference",
        "File *swarm.ConfigReferenceFileTarget,Runtime *swarm.ConfigReferenceRuntimeTarget,ConfigID string,ConfigName string",
    ),
    (
        "swarm.ConfigReferenceFileTarget",
        "Name string,UID string,GID string,Mode os.FileMode",
    ),
    ("swarm.ConfigReferenceRuntimeTarget", ""),
    (
        "swarm.ResourceRequirements",
        "Limits *swarm.Limit,Reservations *swarm.Resources",
    ),
    ("swarm.Limit", "NanoCPUs int64,MemoryBytes int64,Pids int64"),
    (
        "swarm.Resources",
        "NanoCPUs int64,MemoryBytes int64,GenericResources []swarm.GenericResource",
    ),
    (
        "swarm.GenericResource",
        "NamedResourceSpec *swarm.NamedGenericResource,DiscreteResourceSpec *swarm.DiscreteGenericResource",
    ),
    ("swarm.NamedGenericResource", "Kind string,Value string"),
    ("swarm.DiscreteGenericResource", "Kind string,Value int64"),
    (
        "swarm.RestartPolicy",
        "Condition swarm.RestartPolicyCondition,Delay *time.Duration,MaxAttempts *uint64,Window *time.Duration",
    ),
    ("swarm.RestartPolicyCondition", "string"),
    (
        "swarm.Placement",
        "Constraints []string,Preferences []swarm.PlacementPreference,MaxReplicas uint64,Platforms []swarm.Platform",
    ),
    ("swarm.PlacementPreference", "Spread *swarm.SpreadOver"),
    ("swarm.SpreadOver", "SpreadDescriptor string"),
    ("swarm.Platform", "Architecture string,OS string"),
    (
        "swarm.NetworkAttachmentConfig",
        "Target string,Aliases []string,DriverOpts map[string]string",
    ),
    ("swarm.Driver", "Name string,Options map[string]string"),
    (
        "swarm.Endpoint",
        "Spec swarm.EndpointSpec,Ports []swarm.PortConfig,VirtualIPs []swarm.EndpointVirtualIP",
    ),
    (
        "swarm.EndpointSpec",
        "Mode swarm.ResolutionMode,Ports []swarm.PortConfig",
    ),
    ("swarm.ResolutionMode", "string"),
    (
        "swarm.PortConfig",
        "Name string,Protocol swarm.PortConfigProtocol,TargetPort uint32,PublishedPort uint32,PublishMode swarm.PortConfigPublishMode",
    ),
    ("swarm.PortConfigProtocol", "string"),
    ("swarm.PortConfigPublishMode", "string"),
    ("swarm.EndpointVirtualIP", "NetworkID string,Addr string"),
    (
        "swarm.UpdateStatus",
        "State swarm.UpdateState,StartedAt *time.Time,CompletedAt *time.Time,Message string",
    ),
    ("swarm.UpdateState", "string"),
    (
        "swarm.ServiceStatus",
        "RunningTasks uint64,DesiredTasks uint64,CompletedTasks uint64",
    ),
    (
        "swarm.JobStatus",
        "JobIteration swarm.Version,LastExecution time.Time",
    ),
    (
        "swarm.Node",
        "ID string,+Meta swarm.Meta,Spec swarm.NodeSpec,Description swarm.NodeDescription,Status swarm.NodeStatus,ManagerStatus *swarm.ManagerStatus",
    ),
    (
        "swarm.NodeSpec",
        "+Annotations swarm.Annotations,Role swarm.NodeRole,Availability swarm.NodeAvailability",
    ),
    ("swarm.NodeRole", "string"),
    ("swarm.NodeAvailability", "string"),
    (
        "swarm.NodeDescription",
        "Hostname string,Platform swarm.Platform,Resources swarm.Resources,Engine swarm.EngineDescription,TLSInfo swarm.TLSInfo,CSIInfo []swarm.NodeCSIInfo",
    ),
    (
        "swarm.NodeCSIInfo",
        "PluginName string,NodeID string,MaxVolumesPerNode int64",
    ),
    (
        "swarm.EngineDescription",
        "EngineVersion string,Labels map[string]string,Plugins []swarm.PluginDescription",
    ),
    ("swarm.PluginDescription", "Type string,Name string"),
    (
        "swarm.TLSInfo",
        "TrustRoot string,CertIssuerSubject []byte,CertIssuerPublicKey []byte",
    ),
    (
        "swarm.NodeStatus",
        "State swarm.NodeState,Message string,Addr string",
    ),
    ("swarm.NodeState", "string"),
    (
        "swarm.ManagerStatus",
        "Leader bool,Reachability swarm.Reachability,Addr string",
    ),
    ("swarm.Reachability", "string"),
    (
        "swarm.Secret",
        "ID string,+Meta swarm.Meta,Spec swarm.SecretSpec",
    ),
    (
        "swarm.SecretSpec",
        "+Annotations swarm.Annotations,Data []byte,Driver *swarm.Driver,Templating *swarm.Driver",
    ),
    (
        "swarm.Config",
        "ID string,+Meta swarm.Meta,Spec swarm.ConfigSpec",
    ),
    (
        "swarm.ConfigSpec",
        "+Annotations swarm.Annotations,Data []byte,Templating *swarm.Driver",
    ),
    (
        "swarm.Task",
        "ID string,+Meta swarm.Meta,+Annotations swarm.Annotations,Spec swarm.TaskSpec,ServiceID string,Slot int,NodeID string,Status swarm.TaskStatus,DesiredState swarm.TaskState,NetworksAttachments []swarm.NetworkAttachment,GenericResources []swarm.GenericResource,JobIteration *swarm.Version,Volumes []interface {}",
    ),
    ("swarm.TaskState", "string"),
    (
        "swarm.TaskStatus",
        "Timestamp time.Time,State swarm.TaskState,Message string,Err string,ContainerStatus *swarm.ContainerStatus,PortStatus swarm.PortStatus",
    ),
    (
        "swarm.ContainerStatus",
        "ContainerID string,PID int,ExitCode int",
    ),
    ("swarm.PortStatus", "Ports []swarm.PortConfig"),
    (
        "swarm.NetworkAttachment",
        "Network swarm.Network,Addresses []string",
    ),
    (
        "swarm.Network",
        "ID string,+Meta swarm.Meta,Spec swarm.NetworkSpec,DriverState swarm.Driver,IPAMOptions *swarm.IPAMOptions",
    ),
    (
        "swarm.NetworkSpec",
        "+Annotations swarm.Annotations,DriverConfiguration *swarm.Driver,IPv6Enabled bool,Internal bool,Attachable bool,Ingress bool,IPAMOptions *swarm.IPAMOptions,ConfigFrom *network.ConfigReference,Scope string",
    ),
    (
        "swarm.IPAMOptions",
        "Driver swarm.Driver,Configs []swarm.IPAMConfig",
    ),
    (
        "swarm.IPAMConfig",
        "Subnet string,Range string,Gateway string",
    ),
    ("network.ConfigReference", "Network string"),
    (
        "network.Inspect",
        "Name string,ID=Id string,Created time.Time,Scope string,Driver string,EnableIPv4 bool,EnableIPv6 bool,IPAM network.IPAM,Internal bool,Attachable bool,Ingress bool,ConfigFrom network.ConfigReference,ConfigOnly bool,Containers map[string]network.EndpointResource,Options map[string]string,Labels map[string]string,Peers []network.PeerInfo,Services map[string]network.ServiceInfo",
    ),
    (
        "network.IPAM",
        "Driver string,Options map[string]string,Config []network.IPAMConfig",
    ),
    (
        "network.IPAMConfig",
        "Subnet string,IPRange string,Gateway string,AuxAddress=AuxiliaryAddresses map[string]string",
    ),
    (
        "network.EndpointResource",
        "Name string,EndpointID string,MacAddress string,IPv4Address string,IPv6Address string",
    ),
    ("network.PeerInfo", "Name string,IP string"),
    (
        "network.ServiceInfo",
        "VIP string,Ports []string,LocalLBIndex int,Tasks []network.Task",
    ),
    (
        "network.Task",
        "Name string,EndpointID string,EndpointIP string,Info map[string]string",
    ),
    (
        "volume.Volume",
        "ClusterVolume *volume.ClusterVolume,CreatedAt string,Driver string,Labels map[string]string,Mountpoint string,Name string,Options map[string]string,Scope string,Status map[string]interface {},UsageData *volume.UsageData",
    ),
    ("volume.UsageData", "RefCount int64,Size int64"),
    (
        "volume.ClusterVolume",
        "ID string,+Meta swarm.Meta,Spec interface {},PublishStatus []interface {},Info interface {}",
    ),
    (
        "context.contextWithTLSListing",
        "+Metadata store.Metadata,TLSMaterial map[string][]string,Storage context.contextStorage",
    ),
    (
        "store.Metadata",
        "Name string,Metadata command.DockerContext,Endpoints map[string]context.EndpointMetaBase",
    ),
    (
        "command.DockerContext",
        "Description string,AdditionalFields map[string]interface {}",
    ),
    ("context.EndpointMetaBase", "Host string,SkipTLSVerify bool"),
    (
        "events.Message",
        "Status=status string,ID=id string,From=from string,Type events.Type,Action events.Action,Actor events.Actor,Scope=scope string,Time=time int64,TimeNano=timeNano int64",
    ),
    ("events.Type", "string"),
    ("events.Action", "string"),
    ("events.Actor", "ID string,Attributes map[string]string"),
    (
        "template.Context",
        "Service struct { ID string; Name string; Labels map[string]string },Node struct { ID string; Hostname string; Platform template.Platform },Task struct { ID string; Name string; Slot string }",
    ),
    (
        "struct { ID string; Name string; Labels map[string]string }",
        "ID string,Name string,Labels map[string]string",
    ),
    (
        "struct { ID string; Hostname string; Platform template.Platform }",
        "ID string,Hostname string,Platform template.Platform",
    ),
    (
        "struct { ID string; Name string; Slot string }",
        "ID string,Name string,Slot string",
    ),
    ("template.Platform", "Architecture string,OS string"),
    ("template.PayloadContext", "+Context template.Context"),
    (
        "context.contextStorage",
        "MetadataPath string,TLSPath string",
    ),
];

/// Templates of events and of specs get a pointer.
const POINTERS: [&str; 3] = [
    "*events.Message",
    "*template.Context",
    "*template.PayloadContext",
];

/// A field of a structure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// What the API calls it.
    pub(super) json: &'static str,
    pub(super) of: &'static str,
    /// Whether its own fields are also those of what it is in, as in the API.
    pub(super) is_embedded: bool,
}

/// What a type is made of.
#[derive(Debug, Clone)]
pub(super) enum Form {
    Struct(Vec<Field>),
    Pointer(&'static str),
    List(&'static str),
    Map(&'static str),
    Text,
    Number,
    Bool,
    Bytes,
    Any,
}

pub(super) const ANY: &str = "interface {}";

/// What a named type is made of.
pub(super) fn form(of: &'static str) -> Form {
    if of == "[]byte" {
        return Form::Bytes;
    }
    if let Some(inner) = of.strip_prefix('*') {
        return Form::Pointer(inner);
    }
    if let Some(item) = of.strip_prefix("[]") {
        return Form::List(item);
    }
    if let Some(item) = of.strip_prefix("map[string]") {
        return Form::Map(item);
    }
    match of {
        "string" | "time.Time" => Form::Text,
        "bool" => Form::Bool,
        "int" | "int64" | "uint64" | "uint32" | "float32" | "float64" | "time.Duration"
        | "os.FileMode" => Form::Number,
        _ => match TYPES.iter().find(|(name, _)| *name == of) {
            Some((_, "string")) => Form::Text,
            Some((_, fields)) => Form::Struct(fields_of(fields)),
            None => Form::Any,
        },
    }
}

/// Whether fields of a type of this name are known.
pub(super) fn known(name: &str) -> Option<&'static str> {
    if let Some(pointer) = POINTERS.iter().find(|pointer| **pointer == name) {
        return Some(pointer);
    }
    let found = TYPES.iter().find(|(known, _)| *known == name);
    found.map(|(known, _)| *known)
}

fn fields_of(text: &'static str) -> Vec<Field> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let field = |part: &'static str| {
        let (name, of) = part.split_once(' ').unwrap_or((part, ANY));
        let is_embedded = name.starts_with('+');
        let name = name.trim_start_matches('+');
        let (name, json) = name.split_once('=').unwrap_or((name, name));
        Field {
            name,
            json,
            of,
            is_embedded,
        }
    };
    parts.map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_a_field_has_is_known() {
        for (name, fields) in TYPES.iter().filter(|(_, fields)| *fields != "string") {
            for field in fields_of(fields) {
                let bare = field.of.trim_start_matches("map[string]");
                let bare = bare.trim_start_matches(['*', '[', ']']);
                let is_plain = bare == ANY || bare == "byte" || !matches!(form(bare), Form::Any);
                assert!(is_plain, "{name}.{}: {}", field.name, field.of);
            }
        }
    }
}

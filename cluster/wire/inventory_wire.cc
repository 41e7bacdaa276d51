#include "cluster/wire/inventory_wire.h"

#include "base/status.h"
#include "proto/inventory.pb.h"

namespace alpa::cluster {
namespace {

void Write(const Curve& curve, proto::CostCurve* out) {
  for (const CurvePoint& point : curve.points) {
    out->add_amounts(point.amount);
    out->add_seconds(point.seconds);
  }
}

absl::StatusOr<Curve> Read(const proto::CostCurve& message) {
  if (message.amounts_size() != message.seconds_size()) {
    return InvalidArgument("a curve has %d amounts and %d times", message.amounts_size(), message.seconds_size());
  }
  Curve curve;
  for (int i = 0; i < message.amounts_size(); ++i) curve.points.push_back({message.amounts(i), message.seconds(i)});
  return curve;
}

void Write(const DeviceProfile& profile, proto::DeviceProfile* out) {
  out->set_name(profile.name);
  const auto write = [](const std::vector<ProductPoint>& points, auto* products) {
    for (const ProductPoint& point : points) {
      proto::ProductCost* product = products->Add();
      product->set_m(point.m);
      product->set_n(point.n);
      product->set_k(point.k);
      product->set_seconds(point.seconds);
    }
  };
  write(profile.products, out->mutable_products());
  write(profile.half_products, out->mutable_half_products());
  Write(profile.memory, out->mutable_memory());
  out->set_element_seconds(profile.element_seconds);
  out->set_division_seconds(profile.division_seconds);
  out->set_reduced_seconds(profile.reduced_seconds);
  out->set_run_seconds(profile.run_seconds);
  out->set_transcendental_seconds(profile.transcendental_seconds);
  out->set_slow_element_seconds(profile.slow_element_seconds);
  out->set_kernel_seconds(profile.kernel_seconds);
  out->set_program_seconds(profile.program_seconds);
}

absl::StatusOr<DeviceProfile> Read(const proto::DeviceProfile& message) {
  DeviceProfile profile;
  profile.name = message.name();
  for (const proto::ProductCost& p : message.products()) profile.products.push_back({p.m(), p.n(), p.k(), p.seconds()});
  for (const proto::ProductCost& p : message.half_products())
    profile.half_products.push_back({p.m(), p.n(), p.k(), p.seconds()});
  ALPA_ASSIGN_OR_RETURN(profile.memory, Read(message.memory()));
  profile.element_seconds = message.element_seconds();
  profile.division_seconds = message.division_seconds();
  profile.reduced_seconds = message.reduced_seconds();
  profile.run_seconds = message.run_seconds();
  profile.transcendental_seconds = message.transcendental_seconds();
  profile.slow_element_seconds = message.slow_element_seconds();
  profile.kernel_seconds = message.kernel_seconds();
  profile.program_seconds = message.program_seconds();
  return profile;
}

void Write(const LinkProfile& link, proto::LinkProfile* out) {
  out->set_name(link.name);
  Write(link.message, out->mutable_message());
  Write(link.all_reduce, out->mutable_all_reduce());
  Write(link.all_gather, out->mutable_all_gather());
  Write(link.reduce_scatter, out->mutable_reduce_scatter());
  Write(link.all_to_all, out->mutable_all_to_all());
  out->set_seconds_per_member(link.seconds_per_member);
}

absl::StatusOr<LinkProfile> Read(const proto::LinkProfile& message) {
  LinkProfile link;
  link.name = message.name();
  ALPA_ASSIGN_OR_RETURN(link.message, Read(message.message()));
  ALPA_ASSIGN_OR_RETURN(link.all_reduce, Read(message.all_reduce()));
  ALPA_ASSIGN_OR_RETURN(link.all_gather, Read(message.all_gather()));
  ALPA_ASSIGN_OR_RETURN(link.reduce_scatter, Read(message.reduce_scatter()));
  ALPA_ASSIGN_OR_RETURN(link.all_to_all, Read(message.all_to_all()));
  link.seconds_per_member = message.seconds_per_member();
  return link;
}

}  // namespace

proto::NodeFacts ToProto(const NodeFacts& facts) {
  proto::NodeFacts out;
  out.set_host_key(facts.host_key);
  out.set_host_name(facts.host_name);
  out.mutable_cpus()->Assign(facts.cpus.begin(), facts.cpus.end());
  out.set_cores(facts.cores);
  out.set_device_cores(facts.device_cores);
  out.set_outside_messages(facts.outside_messages);
  out.set_measured(facts.profile.measured);
  out.set_memory_streams(facts.profile.memory_streams);
  Write(facts.profile.device, out.mutable_device());
  Write(facts.profile.inside, out.mutable_inside());
  Write(facts.profile.between, out.mutable_between());
  Write(facts.profile.outside, out.mutable_outside());
  return out;
}

absl::StatusOr<NodeFacts> FromProto(const proto::NodeFacts& message) {
  NodeFacts facts;
  facts.host_key = message.host_key();
  facts.host_name = message.host_name();
  facts.cpus.assign(message.cpus().begin(), message.cpus().end());
  facts.cores = message.cores();
  facts.device_cores = message.device_cores();
  facts.outside_messages = message.outside_messages();
  facts.profile.measured = message.measured();
  facts.profile.memory_streams = message.memory_streams();
  ALPA_ASSIGN_OR_RETURN(facts.profile.device, Read(message.device()));
  ALPA_ASSIGN_OR_RETURN(facts.profile.inside, Read(message.inside()));
  ALPA_ASSIGN_OR_RETURN(facts.profile.between, Read(message.between()));
  ALPA_ASSIGN_OR_RETURN(facts.profile.outside, Read(message.outside()));
  ALPA_RETURN_IF_ERROR(Check(facts));
  return facts;
}

proto::Inventory ToProto(const Cluster& cluster) {
  proto::Inventory out;
  for (const Device& device : cluster.devices) {
    proto::Inventory::Device* d = out.add_devices();
    d->set_id(device.id.value());
    d->set_node(device.node);
    d->set_local_index(device.local_index);
    d->set_kind(device.kind);
    d->set_memory_bytes(device.memory);
    d->set_host(device.host);
    d->set_profile(device.profile);
    d->set_cores(device.cores);
  }
  for (const DeviceProfile& profile : cluster.profiles) Write(profile, out.add_profiles());
  const DistinctLinks links = LinksOf(cluster);
  for (const LinkProfile* link : links.links) Write(*link, out.add_links());
  for (size_t i = 0; i < cluster.hosts.size(); ++i) {
    const Host& host = cluster.hosts[i];
    proto::Inventory::Host* h = out.add_hosts();
    h->set_name(host.name);
    h->set_cores(host.cores);
    h->set_memory_streams(host.memory_streams);
    h->set_inside(links.hosts[i].inside);
    h->set_between(links.hosts[i].between);
    h->set_outside(links.hosts[i].outside);
    h->set_outside_messages(host.outside_messages);
  }
  return out;
}

absl::StatusOr<Cluster> FromProto(const proto::Inventory& message) {
  Cluster cluster;
  for (const proto::Inventory::Device& d : message.devices()) {
    cluster.devices.push_back(
        {DeviceId(d.id()), d.node(), d.local_index(), d.kind(), d.memory_bytes(), d.host(), d.profile(), d.cores()});
  }
  for (const proto::DeviceProfile& profile : message.profiles()) {
    ALPA_ASSIGN_OR_RETURN(cluster.profiles.emplace_back(), Read(profile));
  }
  std::vector<LinkProfile> links;
  for (const proto::LinkProfile& link : message.links()) {
    ALPA_ASSIGN_OR_RETURN(links.emplace_back(), Read(link));
  }
  for (const proto::Inventory::Host& h : message.hosts()) {
    for (int link : {h.inside(), h.between(), h.outside()}) {
      if (link < 0 || link >= static_cast<int>(links.size())) {
        return InvalidArgument("host \"%s\" names link %d; the message has %d links", Excerpt(h.name()), link,
                               links.size());
      }
    }
    cluster.hosts.push_back({h.name(), h.cores(), h.memory_streams(), links[h.inside()], links[h.between()],
                             links[h.outside()], h.outside_messages()});
  }
  ALPA_RETURN_IF_ERROR(Check(cluster));
  return cluster;
}

}  // namespace alpa::cluster

#include "client/lib/job_directory.h"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "plan/plan.h"
#include "plan/plan_file.h"
#include "proto/hlo.pb.h"

namespace alpa::client {
namespace {

using json = nlohmann::json;
using plan::InputRole;
using plan::OutputRole;

constexpr Bytes kMaxProgram = 2 * kGiB - 1;    // maximum bytes of program.hlo.pb; protobuf parses no larger message
constexpr Bytes kMaxDescription = 256 * kMiB;  // maximum bytes of job.json
constexpr int kMaxRank = 16;                   // maximum rank of a leaf

// Reads the members of one JSON object by name and type. `where` names the object in error messages.
class Reader {
 public:
  static absl::StatusOr<Reader> Make(const json& value, std::string where, const std::set<std::string>& known) {
    if (!value.is_object()) return InvalidArgument("%s must be an object", where);
    for (const auto& [key, unused] : value.items()) {
      if (known.count(key) == 0) return InvalidArgument("%s has the unknown member '%s'", where, key);
    }
    return Reader(value, std::move(where));
  }
  bool Has(const char* key) const { return value_->contains(key); }

  absl::StatusOr<std::string> String(const char* key) const {
    if (!Has(key)) return Missing(key);
    if (!(*value_)[key].is_string()) return Wrong(key, "a string");
    return (*value_)[key].get<std::string>();
  }
  absl::StatusOr<int64_t> Integer(const char* key, int64_t low, int64_t high) const {
    if (!Has(key)) return Missing(key);
    const json& v = (*value_)[key];
    if (!v.is_number_integer() || (v.is_number_unsigned() && v.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))) {
      return Wrong(key, "a whole number");
    }
    const int64_t number = v.get<int64_t>();
    if (number < low || number > high) {
      return InvalidArgument("%s: '%s' is %d; expected %d to %d", where_, key, number, low, high);
    }
    return number;
  }
  absl::StatusOr<const json*> List(const char* key) const {
    if (!Has(key)) return Missing(key);
    if (!(*value_)[key].is_array()) return Wrong(key, "a list");
    return &(*value_)[key];
  }
  absl::StatusOr<graph::Shape> Shape() const {
    graph::Shape shape;
    ALPA_ASSIGN_OR_RETURN(std::string dtype, String("dtype"));
    absl::StatusOr<graph::DType> parsed = graph::ParseDType(dtype);
    if (!parsed.ok()) return InvalidArgument("%s: dtype '%s' is not known", where_, dtype);
    shape.dtype = *parsed;
    ALPA_ASSIGN_OR_RETURN(const json* dims, List("shape"));
    if (dims->size() > kMaxRank) {
      return InvalidArgument("%s has rank %d; at most %d is allowed", where_, dims->size(), kMaxRank);
    }
    std::optional<int64_t> bytes = graph::SizeOf(shape.dtype);
    for (const json& dim : *dims) {
      if (!dim.is_number_unsigned() || dim.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
        return Wrong("shape", "a list of sizes");
      }
      shape.dims.push_back(dim.get<int64_t>());
      if (bytes.has_value()) bytes = CheckedMultiply(*bytes, std::max<int64_t>(shape.dims.back(), 1));
    }
    if (!bytes.has_value()) return InvalidArgument("%s is too large: its size overflows", where_);
    return shape;
  }

 private:
  Reader(const json& value, std::string where) : value_(&value), where_(std::move(where)) {}
  absl::Status Missing(const char* key) const { return InvalidArgument("%s lacks '%s'", where_, key); }
  absl::Status Wrong(const char* key, const char* expected) const {
    return InvalidArgument("%s: '%s' must be %s", where_, key, expected);
  }

  const json* value_;
  std::string where_;
};

absl::Status ReadInputs(const json& list, JobDescription& out) {
  for (size_t i = 0; i < list.size(); ++i) {
    ALPA_ASSIGN_OR_RETURN(Reader reader,
                          Reader::Make(list[i], absl::StrFormat("input %d", i), {"kind", "path", "dtype", "shape"}));
    InputRole role;
    ALPA_ASSIGN_OR_RETURN(std::string kind, reader.String("kind"));
    if (kind != "state" && kind != "batch")
      return InvalidArgument("input %d: kind '%s' is not state or batch", i, kind);
    role.kind = kind == "state" ? InputRole::Kind::kState : InputRole::Kind::kBatch;
    ALPA_ASSIGN_OR_RETURN(role.path, reader.String("path"));
    ALPA_ASSIGN_OR_RETURN(graph::Shape shape, reader.Shape());
    out.roles.inputs.push_back(std::move(role));
    out.inputs.push_back(std::move(shape));
  }
  return absl::OkStatus();
}

absl::Status ReadOutputs(const json& list, JobDescription& out) {
  for (size_t i = 0; i < list.size(); ++i) {
    ALPA_ASSIGN_OR_RETURN(Reader reader, Reader::Make(list[i], absl::StrFormat("output %d", i),
                                                      {"kind", "path", "state_input", "dtype", "shape"}));
    OutputRole role;
    ALPA_ASSIGN_OR_RETURN(std::string kind, reader.String("kind"));
    if (kind != "state" && kind != "aux") return InvalidArgument("output %d: kind '%s' is not state or aux", i, kind);
    role.kind = kind == "state" ? OutputRole::Kind::kState : OutputRole::Kind::kAux;
    ALPA_ASSIGN_OR_RETURN(role.path, reader.String("path"));
    ALPA_ASSIGN_OR_RETURN(graph::Shape shape, reader.Shape());
    if (role.kind == OutputRole::Kind::kState) {
      if (out.inputs.empty()) return InvalidArgument("output %d replaces state, but there are no inputs", i);
      ALPA_ASSIGN_OR_RETURN(int64_t input,
                            reader.Integer("state_input", 0, static_cast<int64_t>(out.inputs.size()) - 1));
      role.state_input = static_cast<int32_t>(input);
    }
    out.roles.outputs.push_back(std::move(role));
    out.outputs.push_back(std::move(shape));
  }
  return absl::OkStatus();
}

// Checks that paths are unique. Checks that exactly one output replaces each state input, and that it has the input's
// shape and dtype.
absl::Status CheckRoles(const JobDescription& job) {
  std::set<std::pair<bool, std::string>> inputs;
  for (const InputRole& role : job.roles.inputs) {
    if (!inputs.emplace(role.kind == InputRole::Kind::kState, role.path).second) {
      return InvalidArgument("two inputs have the path %s", role.path);
    }
  }
  std::set<std::string> aux;
  std::map<int, size_t> replaced;
  for (size_t i = 0; i < job.outputs.size(); ++i) {
    const OutputRole& role = job.roles.outputs[i];
    if (role.kind == OutputRole::Kind::kAux) {
      if (!aux.insert(role.path).second) return InvalidArgument("two outputs have the path %s", role.path);
      continue;
    }
    const InputRole& input = job.roles.inputs[role.state_input];
    if (input.kind != InputRole::Kind::kState) {
      return InvalidArgument("output %d replaces input %d (%s), which is not state", i, role.state_input, input.path);
    }
    if (!replaced.emplace(role.state_input, i).second) {
      return InvalidArgument("state leaf %s is replaced by two outputs", input.path);
    }
    if (job.outputs[i] != job.inputs[role.state_input]) {
      return InvalidArgument("state leaf %s comes in as %s and goes out as %s; state must keep shape and dtype",
                             input.path, job.inputs[role.state_input].ToString(), job.outputs[i].ToString());
    }
  }
  for (size_t i = 0; i < job.inputs.size(); ++i) {
    if (job.roles.inputs[i].kind == InputRole::Kind::kState && replaced.count(static_cast<int>(i)) == 0) {
      return InvalidArgument("state leaf %s is an input, but no output replaces it", job.roles.inputs[i].path);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadPipeline(const json& value, proto::Pipeline& out) {
  ALPA_ASSIGN_OR_RETURN(
      Reader reader, Reader::Make(value, "'plan': 'pipeline'", {"meshes", "stages_per_mesh", "schedule", "devices"}));
  ALPA_ASSIGN_OR_RETURN(int64_t meshes, reader.Integer("meshes", 1, plan::kMaxStages));
  out.set_meshes(static_cast<int32_t>(meshes));
  if (reader.Has("stages_per_mesh")) {
    ALPA_ASSIGN_OR_RETURN(int64_t stages, reader.Integer("stages_per_mesh", 1, plan::kMaxStages));
    out.set_stages_per_mesh(static_cast<int32_t>(stages));
  }
  if (reader.Has("schedule")) {
    ALPA_ASSIGN_OR_RETURN(std::string schedule, reader.String("schedule"));
    out.set_schedule(schedule);
  }
  if (!reader.Has("devices")) return absl::OkStatus();
  ALPA_ASSIGN_OR_RETURN(const json* devices, reader.List("devices"));
  for (const json& count : *devices) {
    if (!count.is_number_unsigned() || count.get<uint64_t>() < 1 || count.get<uint64_t>() > (1 << 20)) {
      return InvalidArgument("'plan': 'pipeline': devices must be a list of counts from 1 to %d", 1 << 20);
    }
    out.add_devices(count.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status ReadTensorCuts(const Reader& reader, const JobDescription& job, proto::PlanRequest& out) {
  ALPA_ASSIGN_OR_RETURN(const json* cuts, reader.List("tensor_cuts"));
  for (size_t i = 0; i < cuts->size(); ++i) {
    const std::string where = absl::StrFormat("'plan': tensor_cuts %d", i);
    ALPA_ASSIGN_OR_RETURN(Reader cut, Reader::Make((*cuts)[i], where, {"leaf", "dim"}));
    ALPA_ASSIGN_OR_RETURN(int64_t leaf, cut.Integer("leaf", 0, static_cast<int64_t>(job.inputs.size()) - 1));
    ALPA_ASSIGN_OR_RETURN(int64_t dim, cut.Integer("dim", -1, static_cast<int64_t>(job.inputs[leaf].rank()) - 1));
    proto::TensorCut* added = out.add_tensor_cuts();
    added->set_leaf(static_cast<int32_t>(leaf));
    added->set_dim(dim);
  }
  return absl::OkStatus();
}

absl::Status ReadPlan(const json& value, const JobDescription& job, proto::PlanRequest& out) {
  ALPA_ASSIGN_OR_RETURN(
      Reader reader, Reader::Make(value, "'plan'",
                                  {"devices", "data_parallel", "tensor_parallel", "zero", "microbatches", "batch_dims",
                                   "statistics", "workers", "pipeline", "remat", "sequence", "tensor_cuts", "given"}));
  if (reader.Has("devices")) {
    ALPA_ASSIGN_OR_RETURN(int64_t devices, reader.Integer("devices", 0, 1 << 20));
    out.set_devices(static_cast<int32_t>(devices));
  }
  if (reader.Has("data_parallel")) {
    ALPA_ASSIGN_OR_RETURN(int64_t ways, reader.Integer("data_parallel", 0, 1 << 20));
    out.set_data_parallel(static_cast<int32_t>(ways));
  }
  if (reader.Has("tensor_parallel")) {
    ALPA_ASSIGN_OR_RETURN(int64_t ways, reader.Integer("tensor_parallel", 0, 1 << 20));
    out.set_tensor_parallel(static_cast<int32_t>(ways));
  }
  if (reader.Has("zero")) {
    ALPA_ASSIGN_OR_RETURN(int64_t stage, reader.Integer("zero", 0, 3));
    out.set_zero(static_cast<int32_t>(stage));
  }
  if (reader.Has("microbatches")) {
    ALPA_ASSIGN_OR_RETURN(int64_t count, reader.Integer("microbatches", 0, int64_t{1} << 30));
    out.set_microbatches(count);
  }
  if (reader.Has("statistics")) {
    ALPA_ASSIGN_OR_RETURN(std::string statistics, reader.String("statistics"));
    if (statistics != "exact" && statistics != "local") {
      return InvalidArgument("'plan': statistics '%s' is not exact or local", statistics);
    }
    out.set_statistics(statistics == "local" ? proto::Plan::LOCAL : proto::Plan::EXACT);
  }
  if (reader.Has("workers")) {
    ALPA_ASSIGN_OR_RETURN(const json* workers, reader.List("workers"));
    for (const json& worker : *workers) {
      if (!worker.is_string()) return InvalidArgument("'plan': workers must be a list of names");
      out.add_workers(worker.get<std::string>());
    }
  }
  if (reader.Has("remat")) {
    ALPA_ASSIGN_OR_RETURN(std::string remat, reader.String("remat"));
    out.set_remat(remat);
  }
  if (reader.Has("sequence")) {
    if (!value["sequence"].is_boolean()) return InvalidArgument("'plan': sequence must be true or false");
    out.set_sequence(value["sequence"].get<bool>());
  }
  if (reader.Has("given")) {
    auto given = plan::ParsePlanFile(value["given"].dump());
    if (!given.ok()) return InvalidArgument("'plan': 'given': %s", given.status().message());
    *out.mutable_given() = *std::move(given);
  }
  if (reader.Has("pipeline")) ALPA_RETURN_IF_ERROR(ReadPipeline(value["pipeline"], *out.mutable_pipeline()));
  if (reader.Has("tensor_cuts")) ALPA_RETURN_IF_ERROR(ReadTensorCuts(reader, job, out));
  if (!reader.Has("batch_dims")) return absl::OkStatus();
  ALPA_ASSIGN_OR_RETURN(const json* seeds, reader.List("batch_dims"));
  for (size_t i = 0; i < seeds->size(); ++i) {
    const std::string where = absl::StrFormat("'plan': batch_dims %d", i);
    ALPA_ASSIGN_OR_RETURN(Reader seed, Reader::Make((*seeds)[i], where, {"leaf", "dim"}));
    ALPA_ASSIGN_OR_RETURN(int64_t leaf, seed.Integer("leaf", 0, static_cast<int64_t>(job.inputs.size()) - 1));
    ALPA_ASSIGN_OR_RETURN(int64_t dim, seed.Integer("dim", 0, static_cast<int64_t>(job.inputs[leaf].rank()) - 1));
    proto::Seed* added = out.add_batch_dims();
    added->set_leaf(static_cast<int32_t>(leaf));
    added->set_dim(dim);
  }
  return absl::OkStatus();
}

// Checks that a file holds the input leaves of one kind and no other tensors, with the shapes and dtypes of the leaves.
absl::Status CheckTensors(const SafetensorsFile& file, const JobDescription& job, InputRole::Kind kind) {
  std::set<std::string> expected;
  for (size_t i = 0; i < job.inputs.size(); ++i) {
    if (job.roles.inputs[i].kind != kind) continue;
    const std::string& path = job.roles.inputs[i].path;
    expected.insert(path);
    const auto found = file.tensors().find(path);
    if (found == file.tensors().end()) return InvalidArgument("%s lacks the tensor %s", file.path(), path);
    if (found->second.shape != job.inputs[i]) {
      return InvalidArgument("%s: %s is %s, but job.json says %s", file.path(), path, found->second.shape.ToString(),
                             job.inputs[i].ToString());
    }
  }
  for (const auto& [name, entry] : file.tensors()) {
    if (expected.count(name) == 0)
      return InvalidArgument("%s: the tensor %s is not an input of the job", file.path(), name);
  }
  return absl::OkStatus();
}

// Turns every error into kInvalidArgument, because all files of a job directory are the user's input.
template <typename T>
absl::StatusOr<T> AsInput(absl::StatusOr<T> result) {
  if (result.ok()) return result;
  return absl::InvalidArgumentError(result.status().message());
}

}  // namespace

absl::StatusOr<JobDescription> ParseJobDescription(absl::string_view text) {
  const json root = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return InvalidArgument("not JSON: the file is truncated or damaged");
  ALPA_ASSIGN_OR_RETURN(Reader reader,
                        Reader::Make(root, "the job", {"version", "name", "inputs", "outputs", "plan", "batches"}));
  ALPA_ASSIGN_OR_RETURN(int64_t version, reader.Integer("version", 0, INT64_MAX));
  if (version != 1) return InvalidArgument("version %d is not known; this program reads version 1", version);
  JobDescription job;
  ALPA_ASSIGN_OR_RETURN(job.name, reader.String("name"));
  ALPA_ASSIGN_OR_RETURN(const json* inputs, reader.List("inputs"));
  ALPA_RETURN_IF_ERROR(ReadInputs(*inputs, job));
  ALPA_ASSIGN_OR_RETURN(const json* outputs, reader.List("outputs"));
  ALPA_RETURN_IF_ERROR(ReadOutputs(*outputs, job));
  ALPA_RETURN_IF_ERROR(CheckRoles(job));
  ALPA_ASSIGN_OR_RETURN(job.batches, reader.Integer("batches", 1, kMaxBatches));
  if (reader.Has("plan")) ALPA_RETURN_IF_ERROR(ReadPlan(root["plan"], job, job.plan));
  return job;
}

absl::StatusOr<std::unique_ptr<JobDirectory>> JobDirectory::OpenProgram(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return InvalidArgument("%s is not a directory; expected one that alpa.save_job() wrote", directory);
  }
  const std::string prefix = directory + (absl::EndsWith(directory, "/") ? "" : "/");
  auto out = std::make_unique<JobDirectory>();

  ALPA_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> text, AsInput(MappedFile::Open(prefix + "job.json")));
  if (static_cast<Bytes>(text->bytes().size()) > kMaxDescription) {
    return InvalidArgument("%s has %d bytes; at most %d are allowed", text->path(), text->bytes().size(),
                           kMaxDescription);
  }
  absl::StatusOr<JobDescription> description =
      ParseJobDescription({reinterpret_cast<const char*>(text->bytes().data()), text->bytes().size()});
  if (!description.ok()) return Annotate(description.status(), text->path());
  out->description_ = *std::move(description);

  ALPA_ASSIGN_OR_RETURN(out->program_, AsInput(MappedFile::Open(prefix + "program.hlo.pb")));
  if (out->program().empty() || static_cast<Bytes>(out->program().size()) > kMaxProgram) {
    return InvalidArgument("program %sprogram.hlo.pb has %d bytes; expected 1 to %d", prefix, out->program().size(),
                           kMaxProgram);
  }
  // Parses the program here to detect a truncated file, or a file of another kind, before anything is sent. The
  // coordinator makes all other checks of the program.
  hlo::Module module;
  if (!module.ParseFromArray(out->program().data(), static_cast<int>(out->program().size()))) {
    return InvalidArgument("program %sprogram.hlo.pb is not a serialized HLO module: truncated or damaged", prefix);
  }
  return out;
}

absl::StatusOr<std::unique_ptr<JobDirectory>> JobDirectory::Open(const std::string& directory) {
  ALPA_ASSIGN_OR_RETURN(std::unique_ptr<JobDirectory> out, OpenProgram(directory));
  const std::string prefix = directory + (absl::EndsWith(directory, "/") ? "" : "/");
  ALPA_ASSIGN_OR_RETURN(out->state_, AsInput(SafetensorsFile::Open(prefix + "state.safetensors")));
  ALPA_RETURN_IF_ERROR(CheckTensors(*out->state_, out->description_, InputRole::Kind::kState));
  for (int64_t i = 0; i < out->description_.batches; ++i) {
    const std::string path = prefix + absl::StrFormat("batch-%05d.safetensors", i);
    ALPA_ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> batch, AsInput(SafetensorsFile::Open(path)));
    ALPA_RETURN_IF_ERROR(CheckTensors(*batch, out->description_, InputRole::Kind::kBatch));
    out->batches_.push_back(std::move(batch));
  }
  return out;
}

std::span<const uint8_t> JobDirectory::state(int input) const {
  return state_->bytes(state_->tensors().at(description_.roles.inputs[input].path));
}

std::span<const uint8_t> JobDirectory::batch(int64_t batch, int input) const {
  return batches_[batch]->bytes(batches_[batch]->tensors().at(description_.roles.inputs[input].path));
}

std::vector<int> JobDirectory::InputsOf(plan::InputRole::Kind kind) const {
  std::vector<int> found;
  for (size_t i = 0; i < description_.roles.inputs.size(); ++i) {
    if (description_.roles.inputs[i].kind == kind) found.push_back(static_cast<int>(i));
  }
  return found;
}

}  // namespace alpa::client

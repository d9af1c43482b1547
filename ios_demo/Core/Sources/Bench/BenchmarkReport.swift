import Foundation

/// Results as `rid-bench report` and `rid-bench compare` read them (schema 1, docs/benchmarks.md).
/// Durations are in seconds, sizes in bytes.
public struct BenchmarkReport: Sendable, Equatable, Encodable {
    /// What one device measured.
    public struct Run: Sendable, Equatable, Encodable {
        /// ISO 8601, UTC.
        public var created: String
        public var machine: Machine
        public var cells: [Cell]
        /// Whether everything that was planned was measured.
        public var complete: Bool
        /// Why not.
        public var note: String?

        public init(
            created: String, machine: Machine, cells: [Cell], complete: Bool, note: String?
        ) {
            self.created = created
            self.machine = machine
            self.cells = cells
            self.complete = complete
            self.note = note
        }
    }

    /// The device. What cannot be read is nil: nothing is guessed.
    public struct Machine: Sendable, Equatable, Encodable {
        /// For people.
        public var name: String
        /// Hardware identifier, such as `iPhone16,1`; the chip is not told to apps.
        public var cpu: String
        public var architecture: String
        public var cores: Int
        public var memoryBytes: Int
        /// Name and version of the system.
        public var system: String
        /// `nominal`, `fair`, `serious` or `critical`, before and after.
        public var thermal: [String]
        public var lowPower: Bool

        public init(
            name: String, cpu: String, architecture: String, cores: Int, memoryBytes: Int,
            system: String, thermal: [String], lowPower: Bool
        ) {
            self.name = name
            self.cpu = cpu
            self.architecture = architecture
            self.cores = cores
            self.memoryBytes = memoryBytes
            self.system = system
            self.thermal = thermal
            self.lowPower = lowPower
        }

        enum CodingKeys: String, CodingKey {
            case name, cpu, architecture, cores, system, thermal
            case memoryBytes = "memory_bytes"
            case lowPower = "low_power"
        }
    }

    /// A network on some compute units, or the reason why it was not measured.
    public struct Cell: Sendable, Equatable, Encodable {
        public let labels: Labels
        /// Why there are no figures.
        public let error: String?
        public let figures: Figures?

        public init(labels: Labels, result: Result<Figures, any Error>) {
            self.labels = labels
            switch result {
            case .success(let figures):
                (self.figures, error) = (figures, nil)
            case .failure(let failure):
                (figures, error) = (nil, failure.localizedDescription)
            }
        }

        private enum CodingKeys: String, CodingKey {
            case error
        }

        /// Labels, error and figures lie side by side in one object.
        public func encode(to encoder: any Encoder) throws {
            try labels.encode(to: encoder)
            var values = encoder.container(keyedBy: CodingKeys.self)
            try values.encode(error, forKey: .error)
            try figures?.encode(to: encoder)
        }
    }

    /// What a cell says of the network and of what ran it.
    public struct Labels: Sendable, Equatable, Encodable {
        public let name: String
        public let format = "Core ML"
        public let precision: String
        public let weights: String
        public let resolution: Int
        public let levels: Int
        /// Name of the package, and bytes of all its files.
        public let file: String
        public let sizeBytes: Int
        /// Core ML and the system's version.
        public let runtime: String
        public let runtimeKey = "coreml"
        /// Compute units that it was allowed; they tell the cells of one model apart.
        public let kernels: String
        /// Core ML takes no number of threads; 1 is the one that calls it.
        public let threads = 1

        public init(
            metadata: ModelMetadata, file: String, sizeBytes: Int, runtime: String,
            kernels: String
        ) {
            name = metadata.preset
            precision = metadata.precision
            weights = metadata.weights
            resolution = metadata.resolution
            levels = metadata.levels
            self.file = file
            self.sizeBytes = sizeBytes
            self.runtime = runtime
            self.kernels = kernels
        }

        enum CodingKeys: String, CodingKey {
            case name, format, precision, weights, resolution, levels, file, runtime, kernels
            case threads
            case sizeBytes = "size_bytes"
            case runtimeKey = "runtime_key"
        }
    }

    public static let schema = 1

    public var schema = BenchmarkReport.schema
    public var runs: [Run]

    public init(runs: [Run]) {
        self.runs = runs
    }

    /// The document, keys sorted.
    public func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }
}

/// What was measured of one cell; durations in seconds.
public struct Figures: Sendable, Equatable, Codable {
    /// Opening the model; the first inference, which is slower.
    public let load: Double
    public let first: Double
    /// 8-bit photo to the network's input, the network, and its output to a unit perturbation.
    public let pre: Summary
    public let network: Summary
    public let post: Summary
    public let total: Summary
    /// Median of the network's time in each round.
    public let rounds: [Double]
    /// Largest footprint of the process during the cell above what it had before, in bytes.
    public let memoryBytes: Int?

    enum CodingKeys: String, CodingKey {
        case pre, network, post, total, rounds
        case load = "load_s"
        case first = "first_s"
        case memoryBytes = "memory_bytes"
    }

    /// - Parameters:
    ///   - load: seconds.
    ///   - first: seconds of the first inference.
    ///   - rounds: samples by round, at least one in each.
    ///   - memoryBytes: see `memoryBytes`.
    public init(load: Double, first: Double, rounds: [[Sample]], memoryBytes: Int?) {
        let samples = rounds.flatMap { $0 }
        self.load = load
        self.first = first
        pre = Summary(samples.map(\.pre))
        network = Summary(samples.map(\.network))
        post = Summary(samples.map(\.post))
        total = Summary(samples.map { $0.pre + $0.network + $0.post })
        self.rounds = rounds.map { Summary($0.map(\.network)).median }
        self.memoryBytes = memoryBytes
    }

    /// Seconds of the three steps of one repetition.
    public struct Sample: Sendable, Equatable {
        public let pre: Double
        public let network: Double
        public let post: Double

        public init(pre: Double, network: Double, post: Double) {
            self.pre = pre
            self.network = network
            self.post = post
        }
    }
}

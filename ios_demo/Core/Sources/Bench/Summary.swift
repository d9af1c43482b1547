/// Figures of one series of durations, in seconds, as the project's benchmark reports them.
public struct Summary: Sendable, Equatable, Codable {
    /// Of samples.
    public let count: Int
    public let minimum: Double
    public let median: Double
    /// 90 % were at most as slow.
    public let p90: Double
    /// 99 %; with under 100 samples nearly the slowest.
    public let p99: Double
    public let mean: Double
    /// (90th - 10th percentile) / median, without unit: how noisy the device was.
    public let spread: Double

    /// - Parameter samples: seconds, in any order, at least one.
    public init(_ samples: [Double]) {
        precondition(!samples.isEmpty, "no samples")
        let sorted = samples.sorted()
        count = sorted.count
        minimum = sorted[0]
        median = percentile(sorted, 0.5)
        p90 = percentile(sorted, 0.9)
        p99 = percentile(sorted, 0.99)
        mean = sorted.reduce(0, +) / Double(sorted.count)
        spread = median > 0 ? (p90 - percentile(sorted, 0.1)) / median : 0
    }
}

/// The value below which `share` (0...1) of the sorted values lie, interpolated.
func percentile(_ sorted: [Double], _ share: Double) -> Double {
    let rank = Double(sorted.count - 1) * share
    let below = Int(rank)
    let above = min(below + 1, sorted.count - 1)
    return sorted[below] + (sorted[above] - sorted[below]) * (rank - Double(below))
}

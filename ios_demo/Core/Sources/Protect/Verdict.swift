/// What was found when the change of a photo was held against its bound.
public struct Verdict: Sendable, Equatable {
    /// Largest absolute change of a colour value, in 8-bit levels.
    public let maxLevels: Int
    /// Root mean square of the change, in 8-bit levels.
    public let rmsLevels: Double
    /// Whether `maxLevels` is at most the bound.
    public let within: Bool
}

/// Adds up the change of a photo row by row.
struct ChangeMeter {
    private var peak = 0
    private var squares = 0
    private var count = 0

    /// Notes the change of one colour value.
    @inline(__always)
    mutating func note(before: UInt8, after: UInt8) {
        let change = Int(after) - Int(before)
        peak = max(peak, abs(change))
        squares += change * change
        count += 1
    }

    func verdict(levels: Int) -> Verdict {
        let meanSquare = Double(squares) / Double(max(count, 1))
        return Verdict(
            maxLevels: peak, rmsLevels: meanSquare.squareRoot(), within: peak <= levels)
    }
}

extension Budget {
    /// Measures the change between two pictures of one size; alpha does not count.
    ///
    /// - Throws: `RIDError.wrongSize`.
    public func verify(original: PixelView, saved: PixelView) throws -> Verdict {
        guard original.width == saved.width, original.height == saved.height else {
            throw RIDError.wrongSize(
                "The pictures differ in size: \(original.width) x \(original.height) and "
                    + "\(saved.width) x \(saved.height).")
        }
        let (one, other) = (original.order.offsets, saved.order.offsets)
        var meter = ChangeMeter()
        for row in 0..<original.height {
            let (before, after) = (original.bytes(row: row), saved.bytes(row: row))
            for pixel in stride(from: 0, to: 4 * original.width, by: 4) {
                meter.note(before: before[pixel + one.red], after: after[pixel + other.red])
                meter.note(before: before[pixel + one.green], after: after[pixel + other.green])
                meter.note(before: before[pixel + one.blue], after: after[pixel + other.blue])
            }
        }
        return meter.verdict(levels: levels)
    }
}

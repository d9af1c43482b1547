/// The bound on a perturbation, in 8-bit levels of the saved picture, and the share of it in use.
public struct Budget: Sendable, Equatable {
    /// Largest change of any colour value, 1 to 255.
    public let levels: Int
    /// Share of the bound, above 0 and at most 1.
    public let strength: Double

    public init(levels: Int, strength: Double = 1) throws {
        guard (1...255).contains(levels) else {
            throw RIDError.invalidBudget(
                "The bound must be between 1 and 255 levels, not \(levels).")
        }
        guard strength > 0, strength <= 1 else {
            throw RIDError.invalidBudget(
                "The strength must be above 0 and at most 1, not \(strength).")
        }
        self.levels = levels
        self.strength = strength
    }

    /// Largest change on an image in 0...1, strength included.
    public var eps: Double { Double(levels) * strength / 255 }

    /// Levels that a unit perturbation of 1 adds; the product is rounded to float once.
    var scale: Float { Float(Double(levels) * strength) }

    /// Adds a unit perturbation to colour values, in whole levels.
    ///
    /// - Parameters:
    ///   - unit: -1...1; values outside are clipped.
    ///   - image: levels 0 to 255.
    /// - Returns: the new levels; none differs by more than `levels`.
    /// - Throws: `RIDError.wrongSize`, or `.notAPerturbation` if `unit` holds NaN.
    public func apply(_ unit: [Float], to image: [UInt8]) throws -> [UInt8] {
        guard unit.count == image.count else {
            throw RIDError.wrongSize("\(image.count) colour values, \(unit.count) changes.")
        }
        guard !unit.contains(where: \.isNaN) else {
            throw RIDError.notAPerturbation(engine: "this device")
        }
        let scale = scale
        return zip(image, unit).map { shifted($0, by: $1, scale: scale) }
    }
}

/// `clamp(level + round(clamp(unit, -1, 1) * scale), 0, 255)`, halves to the even neighbour.
@inline(__always)
func shifted(_ level: UInt8, by unit: Float, scale: Float) -> UInt8 {
    let step = (min(max(unit, -1), 1) * scale).rounded(.toNearestOrEven)
    return UInt8(min(max(Int32(level) + Int32(step), 0), 255))
}

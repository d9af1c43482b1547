/// Protecting a photo of any size, step by step.
///
/// Whoever trains on a photo scales it to about 512 pixels first, and what is finer than that is
/// averaged away. So the perturbation is predicted at that scale, enlarged, and added at full size.
///
/// `workingView` and `apply` touch the photo and are synchronous; `predict` runs the network and
/// needs only the small view. A photo is never copied at full size.
public enum Protection {
    /// The photo as the network sees it.
    ///
    /// - Parameters:
    ///   - pixels: as they are stored.
    ///   - orientation: that makes them upright.
    ///   - side: of the network's tiles; the short side of the result.
    /// - Returns: RGB in 0...1, upright.
    /// - Throws: `RIDError.photoTooLong`.
    public static func workingView(
        of pixels: PixelView, orientation: Orientation = .up, side: Int
    ) throws -> FloatImage {
        let (height, width) = (pixels.height, pixels.width)
        guard max(height, width) <= PhotoLimits.maximumAspect * min(height, width) else {
            throw RIDError.photoTooLong(width: width, height: height)
        }
        let size = Tiling.workingSize(height: height, width: width, short: side)
        var view = FloatImage(resampling: pixels, height: size.height, width: size.width)
        for index in view.values.indices {
            view.values[index] = min(max(view.values[index] / 255, 0), 1)
        }
        return view.turned(orientation)
    }

    /// Cuts the view into tiles, predicts each, and blends.
    ///
    /// - Parameters:
    ///   - view: from `workingView`.
    ///   - defender: the network.
    ///   - progress: told the share that is done, 0...1, after each tile.
    /// - Returns: the unit perturbation, -1...1, of the size of `view`.
    /// - Throws: `RIDError.notAPerturbation`, `CancellationError`, or what the defender throws.
    public static func predict(
        _ view: FloatImage, with defender: some Defender,
        progress: @Sendable (Double) -> Void = { _ in }
    ) async throws -> FloatImage {
        let side = defender.side
        let tiles = Tiling.tiles(height: view.height, width: view.width, tile: side)
        var unit = FloatImage(height: view.height, width: view.width)
        for (number, tile) in tiles.enumerated() {
            try Task.checkCancellation()
            let part = view.crop(top: tile.top, left: tile.left, side: side)
            let answer = try await defender.perturb(part)
            guard answer.height == side, answer.width == side,
                answer.values.allSatisfy(\.isFinite)
            else { throw RIDError.notAPerturbation(engine: await defender.engine) }
            unit.blend(answer, at: tile)
            progress(Double(number + 1) / Double(tiles.count))
        }
        for index in unit.values.indices {
            unit.values[index] = min(max(unit.values[index], -1), 1)
        }
        return unit
    }

    /// Enlarges a perturbation and adds it to the photo in place, checking the bound.
    ///
    /// - Parameters:
    ///   - unit: from `predict`, upright.
    ///   - pixels: as they are stored; every colour value changes by at most `budget.levels`.
    ///   - orientation: of `pixels`.
    ///   - budget: bound and strength.
    /// - Returns: what the change was.
    /// - Throws: `RIDError.wrongSize` if `unit` belongs to another photo, `CancellationError`;
    ///   rows above the one at hand are changed then, and the photo has to be read again.
    public static func apply(
        _ unit: FloatImage, to pixels: PixelView, orientation: Orientation = .up, budget: Budget
    ) throws -> Verdict {
        let stored = unit.turned(orientation.inverse)
        let short = min(unit.height, unit.width)
        let size = Tiling.workingSize(height: pixels.height, width: pixels.width, short: short)
        guard size == (stored.height, stored.width) else {
            throw RIDError.wrongSize(
                "A perturbation of \(stored.width) x \(stored.height) is not one of a photo of "
                    + "\(pixels.width) x \(pixels.height).")
        }
        let enlarges = min(pixels.height, pixels.width) > short
        let (red, green, blue) = pixels.order.offsets
        let scale = budget.scale
        var meter = ChangeMeter()
        try forEachResampledRow(
            of: enlarges ? stored.sharpened() : stored, height: pixels.height, width: pixels.width
        ) { row, change in
            if row % 64 == 0 { try Task.checkCancellation() }
            let line = pixels.bytes(row: row)
            func shift(_ at: Int, _ unit: Float) {
                let before = line[at]
                line[at] = shifted(before, by: unit, scale: scale)
                meter.note(before: before, after: line[at])
            }
            for column in 0..<pixels.width {
                shift(4 * column + red, change[3 * column])
                shift(4 * column + green, change[3 * column + 1])
                shift(4 * column + blue, change[3 * column + 2])
            }
        }
        let verdict = meter.verdict(levels: budget.levels)
        guard verdict.within else {
            throw RIDError.boundBroken(change: verdict.maxLevels, levels: budget.levels)
        }
        return verdict
    }
}
